/*
 * Dockerfiles, one level: the structure of lines. Every token is external (src/scanner.c), since the shape of each may depend on
 * the escape directive. Words, quotes, variables and JSON strings are not looked at here: parser/ computes them in C over the
 * logical line, as BuildKit does, and a second truth would only be able to differ.
 */

/*
 * One to `max` of a rule in a row, without a repetition: a repetition costs tree-sitter a reduction for each element, a sequence
 * one for all of them. A quarter of the time of parsing went there.
 */
function upTo(max, rule) {
  return max === 1 ? rule : seq(rule, optional(upTo(max - 1, rule)));
}

module.exports = grammar({
  name: 'dockerfile',

  extras: $ => [],

  externals: $ => [
    $.directive,
    $.comment,
    $.blank,
    $.keyword,
    $.flag,
    $.text,
    $.continuation,
    $.heredoc_marker,
    $.heredoc_overflow,
    $.json_start,
    $._line_end,
    $.heredoc_body,
    $.heredoc_end,
  ],

  rules: {
    file: $ => repeat($._items),

    _items: $ => prec.right(upTo(16, $._item)),

    _item: $ => choice($.directive, $.comment, $.blank, $.instruction),

    instruction: $ => seq(
      $.keyword,
      optional($.arguments),
      $._line_end,
      repeat($.heredoc),
    ),

    arguments: $ => choice(
      upTo(16, $._piece),
      seq(...Array(16).fill($._piece), repeat1($._pieces)),
    ),

    _pieces: $ => prec.right(upTo(16, $._piece)),

    _piece: $ => choice(
      $.flag,
      $.text,
      $.continuation,
      $.comment,
      $.blank,
      $.heredoc_marker,
      $.heredoc_overflow,
      $.json_start,
    ),

    heredoc: $ => seq(optional($.heredoc_body), $.heredoc_end),
  },
});
