FROM busybox
RUN <<E
one
E
RUN <<-'X' cat > /o
	hi $v
	X
RUN cat <<A 3<<"B" && echo $((1<<3)) <<<y
a
A
 B
B
COPY <<E <<-F /d/
$x
E
	tab
	F
COPY f <<E /d/
E
ADD ["<<E", "/x"]
RUN echo 'don <<E
RUN << E
blank
E
ONBUILD RUN <<E
x
E
RUN <<A <<A
1
A
2
A
