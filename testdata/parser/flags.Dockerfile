FROM --platform=linux/amd64 busybox AS a
COPY --from=x --chown=1:2 --chmod=644 --link --parents --exclude=*.md --exclude=a a b
COPY --link=FALSE "--chown=a b" a b
ADD --keep-git-dir --unpack=false --checksum=sha256:0 a b
RUN --mount='type=tmpfs,target=/c d' --network=none --security=insecure x
RUN -- z --q
RUN --mount=type=cache,id=a,sharing=locked,uid=1,gid=2,mode=0755,target=/c --mount=type=secret,id=s,env=E,required --mount=type=tmpfs,size=1.5k,target=/t x
RUN --mount=target=/a,z x
RUN --device=vendor.com/d=a,required y
STOPSIGNAL --foo SIGKILL
HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0 --start-interval=5ms --retries=3 CMD curl -f x
HEALTHCHECK CMD ["a", "b"]
HEALTHCHECK --x NONE
