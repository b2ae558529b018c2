FROM busybox
RUN echo e \\
RUN a \
  # note

	b \
   c
RUN trailing \  
	after blanks
ENV C=x \
\
 D=y
RUN last \