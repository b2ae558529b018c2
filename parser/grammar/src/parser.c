#include "tree_sitter/parser.h"

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif

#define LANGUAGE_VERSION 14
#define STATE_COUNT 17
#define LARGE_STATE_COUNT 3
#define SYMBOL_COUNT 21
#define ALIAS_COUNT 0
#define TOKEN_COUNT 14
#define EXTERNAL_TOKEN_COUNT 13
#define FIELD_COUNT 0
#define MAX_ALIAS_SEQUENCE_LENGTH 4
#define PRODUCTION_ID_COUNT 1

enum ts_symbol_identifiers {
  sym_directive = 1,
  sym_comment = 2,
  sym_blank = 3,
  sym_keyword = 4,
  sym_flag = 5,
  sym_text = 6,
  sym_continuation = 7,
  sym_heredoc_marker = 8,
  sym_heredoc_overflow = 9,
  sym_json_start = 10,
  sym__line_end = 11,
  sym_heredoc_body = 12,
  sym_heredoc_end = 13,
  sym_file = 14,
  sym_instruction = 15,
  sym_arguments = 16,
  sym_heredoc = 17,
  aux_sym_file_repeat1 = 18,
  aux_sym_instruction_repeat1 = 19,
  aux_sym_arguments_repeat1 = 20,
};

static const char * const ts_symbol_names[] = {
  [ts_builtin_sym_end] = "end",
  [sym_directive] = "directive",
  [sym_comment] = "comment",
  [sym_blank] = "blank",
  [sym_keyword] = "keyword",
  [sym_flag] = "flag",
  [sym_text] = "text",
  [sym_continuation] = "continuation",
  [sym_heredoc_marker] = "heredoc_marker",
  [sym_heredoc_overflow] = "heredoc_overflow",
  [sym_json_start] = "json_start",
  [sym__line_end] = "_line_end",
  [sym_heredoc_body] = "heredoc_body",
  [sym_heredoc_end] = "heredoc_end",
  [sym_file] = "file",
  [sym_instruction] = "instruction",
  [sym_arguments] = "arguments",
  [sym_heredoc] = "heredoc",
  [aux_sym_file_repeat1] = "file_repeat1",
  [aux_sym_instruction_repeat1] = "instruction_repeat1",
  [aux_sym_arguments_repeat1] = "arguments_repeat1",
};

static const TSSymbol ts_symbol_map[] = {
  [ts_builtin_sym_end] = ts_builtin_sym_end,
  [sym_directive] = sym_directive,
  [sym_comment] = sym_comment,
  [sym_blank] = sym_blank,
  [sym_keyword] = sym_keyword,
  [sym_flag] = sym_flag,
  [sym_text] = sym_text,
  [sym_continuation] = sym_continuation,
  [sym_heredoc_marker] = sym_heredoc_marker,
  [sym_heredoc_overflow] = sym_heredoc_overflow,
  [sym_json_start] = sym_json_start,
  [sym__line_end] = sym__line_end,
  [sym_heredoc_body] = sym_heredoc_body,
  [sym_heredoc_end] = sym_heredoc_end,
  [sym_file] = sym_file,
  [sym_instruction] = sym_instruction,
  [sym_arguments] = sym_arguments,
  [sym_heredoc] = sym_heredoc,
  [aux_sym_file_repeat1] = aux_sym_file_repeat1,
  [aux_sym_instruction_repeat1] = aux_sym_instruction_repeat1,
  [aux_sym_arguments_repeat1] = aux_sym_arguments_repeat1,
};

static const TSSymbolMetadata ts_symbol_metadata[] = {
  [ts_builtin_sym_end] = {
    .visible = false,
    .named = true,
  },
  [sym_directive] = {
    .visible = true,
    .named = true,
  },
  [sym_comment] = {
    .visible = true,
    .named = true,
  },
  [sym_blank] = {
    .visible = true,
    .named = true,
  },
  [sym_keyword] = {
    .visible = true,
    .named = true,
  },
  [sym_flag] = {
    .visible = true,
    .named = true,
  },
  [sym_text] = {
    .visible = true,
    .named = true,
  },
  [sym_continuation] = {
    .visible = true,
    .named = true,
  },
  [sym_heredoc_marker] = {
    .visible = true,
    .named = true,
  },
  [sym_heredoc_overflow] = {
    .visible = true,
    .named = true,
  },
  [sym_json_start] = {
    .visible = true,
    .named = true,
  },
  [sym__line_end] = {
    .visible = false,
    .named = true,
  },
  [sym_heredoc_body] = {
    .visible = true,
    .named = true,
  },
  [sym_heredoc_end] = {
    .visible = true,
    .named = true,
  },
  [sym_file] = {
    .visible = true,
    .named = true,
  },
  [sym_instruction] = {
    .visible = true,
    .named = true,
  },
  [sym_arguments] = {
    .visible = true,
    .named = true,
  },
  [sym_heredoc] = {
    .visible = true,
    .named = true,
  },
  [aux_sym_file_repeat1] = {
    .visible = false,
    .named = false,
  },
  [aux_sym_instruction_repeat1] = {
    .visible = false,
    .named = false,
  },
  [aux_sym_arguments_repeat1] = {
    .visible = false,
    .named = false,
  },
};

static const TSSymbol ts_alias_sequences[PRODUCTION_ID_COUNT][MAX_ALIAS_SEQUENCE_LENGTH] = {
  [0] = {0},
};

static const uint16_t ts_non_terminal_alias_map[] = {
  0,
};

static const TSStateId ts_primary_state_ids[STATE_COUNT] = {
  [0] = 0,
  [1] = 1,
  [2] = 2,
  [3] = 3,
  [4] = 4,
  [5] = 5,
  [6] = 6,
  [7] = 7,
  [8] = 8,
  [9] = 9,
  [10] = 10,
  [11] = 11,
  [12] = 12,
  [13] = 13,
  [14] = 14,
  [15] = 15,
  [16] = 16,
};

static bool ts_lex(TSLexer *lexer, TSStateId state) {
  START_LEXER();
  eof = lexer->eof(lexer);
  switch (state) {
    case 0:
      ACCEPT_TOKEN(ts_builtin_sym_end);
      if (eof) ADVANCE(1);
      END_STATE();
    case 1:
      ACCEPT_TOKEN(ts_builtin_sym_end);
      END_STATE();
    default:
      return false;
  }
}

static const TSLexMode ts_lex_modes[STATE_COUNT] = {
  [0] = {.lex_state = 0, .external_lex_state = 1},
  [1] = {.lex_state = 0, .external_lex_state = 2},
  [2] = {.lex_state = 0, .external_lex_state = 3},
  [3] = {.lex_state = 0, .external_lex_state = 3},
  [4] = {.lex_state = 0, .external_lex_state = 3},
  [5] = {.lex_state = 0, .external_lex_state = 4},
  [6] = {.lex_state = 0, .external_lex_state = 4},
  [7] = {.lex_state = 0, .external_lex_state = 4},
  [8] = {.lex_state = 0, .external_lex_state = 4},
  [9] = {.lex_state = 0, .external_lex_state = 4},
  [10] = {.lex_state = 0, .external_lex_state = 2},
  [11] = {.lex_state = 0, .external_lex_state = 2},
  [12] = {.lex_state = 0, .external_lex_state = 4},
  [13] = {.lex_state = 0, .external_lex_state = 4},
  [14] = {.lex_state = 0},
  [15] = {.lex_state = 0, .external_lex_state = 5},
  [16] = {.lex_state = 0, .external_lex_state = 6},
};

static const uint16_t ts_parse_table[LARGE_STATE_COUNT][SYMBOL_COUNT] = {
  [0] = {
    [ts_builtin_sym_end] = ACTIONS(1),
    [sym_directive] = ACTIONS(1),
    [sym_comment] = ACTIONS(1),
    [sym_blank] = ACTIONS(1),
    [sym_keyword] = ACTIONS(1),
    [sym_flag] = ACTIONS(1),
    [sym_text] = ACTIONS(1),
    [sym_continuation] = ACTIONS(1),
    [sym_heredoc_marker] = ACTIONS(1),
    [sym_heredoc_overflow] = ACTIONS(1),
    [sym_json_start] = ACTIONS(1),
    [sym__line_end] = ACTIONS(1),
    [sym_heredoc_body] = ACTIONS(1),
    [sym_heredoc_end] = ACTIONS(1),
  },
  [1] = {
    [sym_file] = STATE(14),
    [sym_instruction] = STATE(10),
    [aux_sym_file_repeat1] = STATE(10),
    [ts_builtin_sym_end] = ACTIONS(3),
    [sym_directive] = ACTIONS(5),
    [sym_comment] = ACTIONS(5),
    [sym_blank] = ACTIONS(5),
    [sym_keyword] = ACTIONS(7),
  },
  [2] = {
    [sym_arguments] = STATE(15),
    [aux_sym_arguments_repeat1] = STATE(3),
    [sym_comment] = ACTIONS(9),
    [sym_blank] = ACTIONS(9),
    [sym_flag] = ACTIONS(9),
    [sym_text] = ACTIONS(9),
    [sym_continuation] = ACTIONS(9),
    [sym_heredoc_marker] = ACTIONS(9),
    [sym_heredoc_overflow] = ACTIONS(9),
    [sym_json_start] = ACTIONS(9),
    [sym__line_end] = ACTIONS(11),
  },
};

static const uint16_t ts_small_parse_table[] = {
  [0] = 3,
    ACTIONS(15), 1,
      sym__line_end,
    STATE(4), 1,
      aux_sym_arguments_repeat1,
    ACTIONS(13), 8,
      sym_comment,
      sym_blank,
      sym_flag,
      sym_text,
      sym_continuation,
      sym_heredoc_marker,
      sym_heredoc_overflow,
      sym_json_start,
  [17] = 3,
    ACTIONS(20), 1,
      sym__line_end,
    STATE(4), 1,
      aux_sym_arguments_repeat1,
    ACTIONS(17), 8,
      sym_comment,
      sym_blank,
      sym_flag,
      sym_text,
      sym_continuation,
      sym_heredoc_marker,
      sym_heredoc_overflow,
      sym_json_start,
  [34] = 4,
    ACTIONS(24), 1,
      sym_heredoc_body,
    ACTIONS(26), 1,
      sym_heredoc_end,
    STATE(6), 2,
      sym_heredoc,
      aux_sym_instruction_repeat1,
    ACTIONS(22), 5,
      sym_directive,
      sym_comment,
      sym_blank,
      sym_keyword,
      ts_builtin_sym_end,
  [52] = 4,
    ACTIONS(24), 1,
      sym_heredoc_body,
    ACTIONS(26), 1,
      sym_heredoc_end,
    STATE(8), 2,
      sym_heredoc,
      aux_sym_instruction_repeat1,
    ACTIONS(28), 5,
      sym_directive,
      sym_comment,
      sym_blank,
      sym_keyword,
      ts_builtin_sym_end,
  [70] = 4,
    ACTIONS(24), 1,
      sym_heredoc_body,
    ACTIONS(26), 1,
      sym_heredoc_end,
    STATE(9), 2,
      sym_heredoc,
      aux_sym_instruction_repeat1,
    ACTIONS(28), 5,
      sym_directive,
      sym_comment,
      sym_blank,
      sym_keyword,
      ts_builtin_sym_end,
  [88] = 4,
    ACTIONS(32), 1,
      sym_heredoc_body,
    ACTIONS(35), 1,
      sym_heredoc_end,
    STATE(8), 2,
      sym_heredoc,
      aux_sym_instruction_repeat1,
    ACTIONS(30), 5,
      sym_directive,
      sym_comment,
      sym_blank,
      sym_keyword,
      ts_builtin_sym_end,
  [106] = 4,
    ACTIONS(24), 1,
      sym_heredoc_body,
    ACTIONS(26), 1,
      sym_heredoc_end,
    STATE(8), 2,
      sym_heredoc,
      aux_sym_instruction_repeat1,
    ACTIONS(38), 5,
      sym_directive,
      sym_comment,
      sym_blank,
      sym_keyword,
      ts_builtin_sym_end,
  [124] = 4,
    ACTIONS(7), 1,
      sym_keyword,
    ACTIONS(40), 1,
      ts_builtin_sym_end,
    STATE(11), 2,
      sym_instruction,
      aux_sym_file_repeat1,
    ACTIONS(42), 3,
      sym_directive,
      sym_comment,
      sym_blank,
  [140] = 4,
    ACTIONS(44), 1,
      ts_builtin_sym_end,
    ACTIONS(49), 1,
      sym_keyword,
    STATE(11), 2,
      sym_instruction,
      aux_sym_file_repeat1,
    ACTIONS(46), 3,
      sym_directive,
      sym_comment,
      sym_blank,
  [156] = 1,
    ACTIONS(52), 7,
      sym_directive,
      sym_comment,
      sym_blank,
      sym_keyword,
      sym_heredoc_body,
      sym_heredoc_end,
      ts_builtin_sym_end,
  [166] = 1,
    ACTIONS(54), 7,
      sym_directive,
      sym_comment,
      sym_blank,
      sym_keyword,
      sym_heredoc_body,
      sym_heredoc_end,
      ts_builtin_sym_end,
  [176] = 1,
    ACTIONS(56), 1,
      ts_builtin_sym_end,
  [180] = 1,
    ACTIONS(58), 1,
      sym__line_end,
  [184] = 1,
    ACTIONS(60), 1,
      sym_heredoc_end,
};

static const uint32_t ts_small_parse_table_map[] = {
  [SMALL_STATE(3)] = 0,
  [SMALL_STATE(4)] = 17,
  [SMALL_STATE(5)] = 34,
  [SMALL_STATE(6)] = 52,
  [SMALL_STATE(7)] = 70,
  [SMALL_STATE(8)] = 88,
  [SMALL_STATE(9)] = 106,
  [SMALL_STATE(10)] = 124,
  [SMALL_STATE(11)] = 140,
  [SMALL_STATE(12)] = 156,
  [SMALL_STATE(13)] = 166,
  [SMALL_STATE(14)] = 176,
  [SMALL_STATE(15)] = 180,
  [SMALL_STATE(16)] = 184,
};

static const TSParseActionEntry ts_parse_actions[] = {
  [0] = {.entry = {.count = 0, .reusable = false}},
  [1] = {.entry = {.count = 1, .reusable = false}}, RECOVER(),
  [3] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_file, 0, 0, 0),
  [5] = {.entry = {.count = 1, .reusable = true}}, SHIFT(10),
  [7] = {.entry = {.count = 1, .reusable = true}}, SHIFT(2),
  [9] = {.entry = {.count = 1, .reusable = true}}, SHIFT(3),
  [11] = {.entry = {.count = 1, .reusable = true}}, SHIFT(5),
  [13] = {.entry = {.count = 1, .reusable = true}}, SHIFT(4),
  [15] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_arguments, 1, 0, 0),
  [17] = {.entry = {.count = 2, .reusable = true}}, REDUCE(aux_sym_arguments_repeat1, 2, 0, 0), SHIFT_REPEAT(4),
  [20] = {.entry = {.count = 1, .reusable = true}}, REDUCE(aux_sym_arguments_repeat1, 2, 0, 0),
  [22] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_instruction, 2, 0, 0),
  [24] = {.entry = {.count = 1, .reusable = true}}, SHIFT(16),
  [26] = {.entry = {.count = 1, .reusable = true}}, SHIFT(12),
  [28] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_instruction, 3, 0, 0),
  [30] = {.entry = {.count = 1, .reusable = true}}, REDUCE(aux_sym_instruction_repeat1, 2, 0, 0),
  [32] = {.entry = {.count = 2, .reusable = true}}, REDUCE(aux_sym_instruction_repeat1, 2, 0, 0), SHIFT_REPEAT(16),
  [35] = {.entry = {.count = 2, .reusable = true}}, REDUCE(aux_sym_instruction_repeat1, 2, 0, 0), SHIFT_REPEAT(12),
  [38] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_instruction, 4, 0, 0),
  [40] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_file, 1, 0, 0),
  [42] = {.entry = {.count = 1, .reusable = true}}, SHIFT(11),
  [44] = {.entry = {.count = 1, .reusable = true}}, REDUCE(aux_sym_file_repeat1, 2, 0, 0),
  [46] = {.entry = {.count = 2, .reusable = true}}, REDUCE(aux_sym_file_repeat1, 2, 0, 0), SHIFT_REPEAT(11),
  [49] = {.entry = {.count = 2, .reusable = true}}, REDUCE(aux_sym_file_repeat1, 2, 0, 0), SHIFT_REPEAT(2),
  [52] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_heredoc, 1, 0, 0),
  [54] = {.entry = {.count = 1, .reusable = true}}, REDUCE(sym_heredoc, 2, 0, 0),
  [56] = {.entry = {.count = 1, .reusable = true}},  ACCEPT_INPUT(),
  [58] = {.entry = {.count = 1, .reusable = true}}, SHIFT(7),
  [60] = {.entry = {.count = 1, .reusable = true}}, SHIFT(13),
};

enum ts_external_scanner_symbol_identifiers {
  ts_external_token_directive = 0,
  ts_external_token_comment = 1,
  ts_external_token_blank = 2,
  ts_external_token_keyword = 3,
  ts_external_token_flag = 4,
  ts_external_token_text = 5,
  ts_external_token_continuation = 6,
  ts_external_token_heredoc_marker = 7,
  ts_external_token_heredoc_overflow = 8,
  ts_external_token_json_start = 9,
  ts_external_token__line_end = 10,
  ts_external_token_heredoc_body = 11,
  ts_external_token_heredoc_end = 12,
};

static const TSSymbol ts_external_scanner_symbol_map[EXTERNAL_TOKEN_COUNT] = {
  [ts_external_token_directive] = sym_directive,
  [ts_external_token_comment] = sym_comment,
  [ts_external_token_blank] = sym_blank,
  [ts_external_token_keyword] = sym_keyword,
  [ts_external_token_flag] = sym_flag,
  [ts_external_token_text] = sym_text,
  [ts_external_token_continuation] = sym_continuation,
  [ts_external_token_heredoc_marker] = sym_heredoc_marker,
  [ts_external_token_heredoc_overflow] = sym_heredoc_overflow,
  [ts_external_token_json_start] = sym_json_start,
  [ts_external_token__line_end] = sym__line_end,
  [ts_external_token_heredoc_body] = sym_heredoc_body,
  [ts_external_token_heredoc_end] = sym_heredoc_end,
};

static const bool ts_external_scanner_states[7][EXTERNAL_TOKEN_COUNT] = {
  [1] = {
    [ts_external_token_directive] = true,
    [ts_external_token_comment] = true,
    [ts_external_token_blank] = true,
    [ts_external_token_keyword] = true,
    [ts_external_token_flag] = true,
    [ts_external_token_text] = true,
    [ts_external_token_continuation] = true,
    [ts_external_token_heredoc_marker] = true,
    [ts_external_token_heredoc_overflow] = true,
    [ts_external_token_json_start] = true,
    [ts_external_token__line_end] = true,
    [ts_external_token_heredoc_body] = true,
    [ts_external_token_heredoc_end] = true,
  },
  [2] = {
    [ts_external_token_directive] = true,
    [ts_external_token_comment] = true,
    [ts_external_token_blank] = true,
    [ts_external_token_keyword] = true,
  },
  [3] = {
    [ts_external_token_comment] = true,
    [ts_external_token_blank] = true,
    [ts_external_token_flag] = true,
    [ts_external_token_text] = true,
    [ts_external_token_continuation] = true,
    [ts_external_token_heredoc_marker] = true,
    [ts_external_token_heredoc_overflow] = true,
    [ts_external_token_json_start] = true,
    [ts_external_token__line_end] = true,
  },
  [4] = {
    [ts_external_token_directive] = true,
    [ts_external_token_comment] = true,
    [ts_external_token_blank] = true,
    [ts_external_token_keyword] = true,
    [ts_external_token_heredoc_body] = true,
    [ts_external_token_heredoc_end] = true,
  },
  [5] = {
    [ts_external_token__line_end] = true,
  },
  [6] = {
    [ts_external_token_heredoc_end] = true,
  },
};

#ifdef __cplusplus
extern "C" {
#endif
void *tree_sitter_dockerfile_external_scanner_create(void);
void tree_sitter_dockerfile_external_scanner_destroy(void *);
bool tree_sitter_dockerfile_external_scanner_scan(void *, TSLexer *, const bool *);
unsigned tree_sitter_dockerfile_external_scanner_serialize(void *, char *);
void tree_sitter_dockerfile_external_scanner_deserialize(void *, const char *, unsigned);

#ifdef TREE_SITTER_HIDE_SYMBOLS
#define TS_PUBLIC
#elif defined(_WIN32)
#define TS_PUBLIC __declspec(dllexport)
#else
#define TS_PUBLIC __attribute__((visibility("default")))
#endif

TS_PUBLIC const TSLanguage *tree_sitter_dockerfile(void) {
  static const TSLanguage language = {
    .version = LANGUAGE_VERSION,
    .symbol_count = SYMBOL_COUNT,
    .alias_count = ALIAS_COUNT,
    .token_count = TOKEN_COUNT,
    .external_token_count = EXTERNAL_TOKEN_COUNT,
    .state_count = STATE_COUNT,
    .large_state_count = LARGE_STATE_COUNT,
    .production_id_count = PRODUCTION_ID_COUNT,
    .field_count = FIELD_COUNT,
    .max_alias_sequence_length = MAX_ALIAS_SEQUENCE_LENGTH,
    .parse_table = &ts_parse_table[0][0],
    .small_parse_table = ts_small_parse_table,
    .small_parse_table_map = ts_small_parse_table_map,
    .parse_actions = ts_parse_actions,
    .symbol_names = ts_symbol_names,
    .symbol_metadata = ts_symbol_metadata,
    .public_symbol_map = ts_symbol_map,
    .alias_map = ts_non_terminal_alias_map,
    .alias_sequences = &ts_alias_sequences[0][0],
    .lex_modes = ts_lex_modes,
    .lex_fn = ts_lex,
    .external_scanner = {
      &ts_external_scanner_states[0][0],
      ts_external_scanner_symbol_map,
      tree_sitter_dockerfile_external_scanner_create,
      tree_sitter_dockerfile_external_scanner_destroy,
      tree_sitter_dockerfile_external_scanner_scan,
      tree_sitter_dockerfile_external_scanner_serialize,
      tree_sitter_dockerfile_external_scanner_deserialize,
    },
    .primary_state_ids = ts_primary_state_ids,
  };
  return &language;
}
#ifdef __cplusplus
}
#endif
