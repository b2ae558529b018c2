FROM busybox
CMD ["a", "b\u00e9\n"]
CMD ['a', 'b']
CMD ["a"] b
CMD ["a" "b"]
CMD []
CMD
RUN  [ "x" , "y" ]
SHELL ["/bin/sh", "-c"]
ENTRYPOINT ["unterminated"
VOLUME ["/a b", " /c "]
VOLUME /a /b
COPY ["a b", "c", "/d/"]
