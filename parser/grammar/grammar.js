/*
 * Dockerfiles, one level: the structure of lines. Every token is external (src/scanner.c), since the shape of each may depend on
 * the escape directive. Words, quotes, variables and JSON strings are not looked at here: parser/ computes them in C over the
 * logical line, as BuildKit does, and a second truth would only be able to differ.
 */
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
    file: $ => repeat(choice($.directive, $.comment, $.blank, $.instruction)),

    instruction: $ => seq(
      $.keyword,
      optional($.arguments),
      $._line_end,
      repeat($.heredoc),
    ),

    arguments: $ => repeat1(choice(
      $.flag,
      $.text,
      $.continuation,
      $.comment,
      $.blank,
      $.heredoc_marker,
      $.heredoc_overflow,
      $.json_start,
    )),

    heredoc: $ => seq(optional($.heredoc_body), $.heredoc_end),
  },
});
