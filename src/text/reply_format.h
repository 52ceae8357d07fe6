// How a model writes reasoning and tool calls, as data: one row a format. The row is chosen from the chat template's
// source and the tokenizer's vocabulary.
#ifndef TEXT_REPLY_FORMAT_H
#define TEXT_REPLY_FORMAT_H
#include "text/tokenizer.h"

// Around a section with calls. close NULL: to the end of the answer.
typedef struct call_tags {
    const char *open, *close;
    bool kept; // the tags are part of what the reader reads
} call_tags;

typedef enum call_syntax {
    CALLS_LITERAL, // {"name", "arguments"}, an array of them, or [f(a=1), g()]
    CALLS_XML,     // parts: before a call's name, before an argument's name, behind an argument, behind a call
    CALLS_KEYS,    // name, then parts: around an argument's name, around its value
    CALLS_GEMMA,   // call:name{…}; parts: around strings
    CALLS_NAMED,   // name, parts[0], a JSON object; parts[1] before and parts[2] behind each call; arrays as LITERAL
} call_syntax;

typedef struct call_format {
    const char *name;
    const char *in_template[2]; // texts that the template must hold; NULL: none
    const char *in_vocabulary;  // or: a token
    call_syntax syntax;
    call_tags tags[2];
    const char *parts[4];
    bool bare;      // also without tags, as the whole answer
    bool keeps_ids; // the template writes ids as the model made them
    const char *dropped[2]; // tags that are not part of the text
} call_format;

typedef struct reasoning_format {
    const char *open, *close;
    const char *dropped[2];
} reasoning_format;

// A value; the members are static.
typedef struct reply_format {
    const reasoning_format *reasoning; // NULL: none
    const call_format *calls;          // NULL: none
    bool channels;                     // gpt-oss: <|channel|>analysis<|message|>…<|end|>
} reply_format;

// `template_source` may be NULL. With tools, calls and channels without a row of their own stay NULL.
reply_format reply_format_choose(const char *template_source, const tokenizer *tok, bool with_tools);

// Nothing to parse: the text is the answer.
bool reply_format_is_plain(const reply_format *format);

// Whether a special token must be seen by the parser, because it is a tag or part of one.
bool reply_format_shows(const reply_format *format, const char *token, size_t length);

#endif
