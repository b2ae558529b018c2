ARG VERSION=1 OTHER
# TARGET the thing
# unrelated

ARG TARGET
# base a stage
FROM x AS Base
#
# foo not kept
#
ARG foo
  # bar not at the left
ARG bar="a b" c
ARG --dropped z=
