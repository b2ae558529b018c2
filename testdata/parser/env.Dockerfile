FROM busybox
ENV a b   c
ENV d = e
ENV a=1 b="x y" c='p q' d=x\ y "e f"=g ""=h i=
ENV a=b\
c=d
LABEL x y
LABEL "com.example"="a b" other=c
