#!/usr/bin/env build
# escape=`
FROM busybox
RUN a \
 b
