// Tokens of a template. The lexer runs on demand, so that its errors come in the order in which Jinja2's do.
#ifndef TEXT_JINJA_LEXER_H
#define TEXT_JINJA_LEXER_H
#include <setjmp.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "text/jinja_value.h"

// X(name, description in messages)
// clang-format off
#define JINJA_TOKENS(X) \
    X(ADD, "+") \
    X(ASSIGN, "=") \
    X(COLON, ":") \
    X(COMMA, ",") \
    X(DIV, "/") \
    X(DOT, ".") \
    X(EQ, "==") \
    X(FLOORDIV, "//") \
    X(GT, ">") \
    X(GTEQ, ">=") \
    X(LBRACE, "{") \
    X(LBRACKET, "[") \
    X(LPAREN, "(") \
    X(LT, "<") \
    X(LTEQ, "<=") \
    X(MOD, "%") \
    X(MUL, "*") \
    X(NE, "!=") \
    X(PIPE, "|") \
    X(POW, "**") \
    X(RBRACE, "}") \
    X(RBRACKET, "]") \
    X(RPAREN, ")") \
    X(SEMICOLON, ";") \
    X(SUB, "-") \
    X(TILDE, "~") \
    X(FLOAT, "float") \
    X(INTEGER, "integer") \
    X(NAME, "name") \
    X(STRING, "string") \
    X(BLOCK_BEGIN, "begin of statement block") \
    X(BLOCK_END, "end of statement block") \
    X(VARIABLE_BEGIN, "begin of print statement") \
    X(VARIABLE_END, "end of print statement") \
    X(DATA, "template data / text") \
    X(EOF, "end of template")
// clang-format on

typedef enum jtoken_type {
#define X(name, description) JT_##name,
    JINJA_TOKENS(X)
#undef X
} jtoken_type;

typedef struct jtoken {
    jtoken_type type;
    uint32_t line;
    const jstring *text; // NAME, STRING and DATA
    jvalue number;       // INTEGER and FLOAT
} jtoken;

// What parsing allocates from and how it fails: by a jump to where it began.
typedef struct jparse {
    arena *memory;
    jmp_buf failed;
    llm_error *err;
    llm_status status;
} jparse;

_Noreturn void jinja_parse_fail(jparse *parse, uint32_t line, const char *format, ...) PRINTF_LIKE(3, 4);
void *jinja_parse_alloc(jparse *parse, size_t count, size_t size);
const jstring *jinja_parse_string(jparse *parse, const char *text, size_t length); // borrows the text

typedef struct jlexer {
    jparse *parse;
    const char *source; // newlines normalised, the last one dropped
    size_t length, position;
    uint32_t line;
    enum { JSTATE_ROOT, JSTATE_COMMENT, JSTATE_BLOCK, JSTATE_VARIABLE, JSTATE_RAW } state;
    bool begin_pending; // the tag that begins here is the next token
    bool line_starting; // the text before this place ended a line
    char *brackets;     // closing brackets that are awaited, innermost last
    size_t depth, brackets_capacity;
} jlexer;

void jlexer_init(jlexer *lexer, jparse *parse, const char *source, size_t length);
jtoken jlexer_next(jlexer *lexer);
const char *jinja_token_description(jtoken_type type);

// Between the files of the lexer.
char jlexer_at(const jlexer *lexer, size_t position); // 0 beyond the end
void jlexer_advance(jlexer *lexer, size_t end);       // moves to `end`, counting lines
jtoken jlexer_token(const jlexer *lexer, jtoken_type type, uint32_t line);
bool jlexer_literal(jlexer *lexer,
                    jtoken *token); // a number, name or string that stands here; false: none does

#endif
