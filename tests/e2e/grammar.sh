# The generated parser is what grammar.js gives. Needs the network: the generator comes from Debian 13.
exec "$(dirname "$0")/../../parser/grammar/generate" --check
