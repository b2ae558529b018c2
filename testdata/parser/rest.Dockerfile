from busybox as B
maintainer Me <me@example.com>
expose 90/udp 80 100-102
user a:b
workdir /a  b
onbuild  copy a b  
onbuild FOO x
FROM scratch
