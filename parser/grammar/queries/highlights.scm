; One level: what the grammar knows. Words, strings and variables are not parsed (see grammar.js).
(directive) @keyword.directive
(comment) @comment
(keyword) @keyword
(flag) @property
(continuation) @punctuation.special
(heredoc_marker) @label
(heredoc_body) @string
(heredoc_end) @label
(heredoc_overflow) @error
