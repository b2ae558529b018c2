FROM busybox
RUN <<E
a
E
RUN b \
  c
CMD ["x"]
