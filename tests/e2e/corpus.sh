# Real Dockerfiles: the folder CBUILD_CORPORA holds dockerfiles.public.tar.zst, goldens of BuildKit and compare-parse.
# Each file parses as BuildKit parses it, and none has an ERROR node.
. "$(dirname "$0")/lib.sh"
[ -n "${CBUILD_CORPORA:-}" ] || skip "CBUILD_CORPORA is not set"
need zstd tar python3
: "${BUILD:=$top/build/release}"

zstd -dcq --long=27 "$CBUILD_CORPORA/dockerfiles.public.tar.zst" | tar x
(cd "$top" && find "$work/dockerfiles" -name '*.Dockerfile' -print0 | sort -z | xargs -0 "$BUILD/unit/parser_grammar") > grammar.log 2>&1 ||
	{ tail -20 grammar.log; fail "a file of the corpus has an ERROR node"; }

# The number may only rise: it is all of them.
"$CBUILD_CORPORA/compare-parse" --cmd "'$CBUILD' debug dump-dockerfile --json {files}" --min 1 --diffs 5 > compare.log ||
	{ cat compare.log; fail "files are read otherwise than BuildKit reads them"; }
head -6 compare.log
