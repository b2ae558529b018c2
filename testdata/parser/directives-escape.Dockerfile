# syntax=docker/dockerfile:1
# escape=`
# check=skip=A, B
FROM busybox
ENV a=`"x b='`' c="`$d"
RUN dir `
  c:\
COPY a `
 b\ c:\x\
