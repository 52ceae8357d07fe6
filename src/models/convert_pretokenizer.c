// How byte-level tokenizers cut text into words: the patterns behind the names that llama.cpp gives them
// (tokenizer.ggml.pre), as tokenizer.json writes them. The patterns are those of the models' own tokenizer.json.
#include "models/convert_job.h"
#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3 CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define QWEN2 CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define QWEN35 CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define TEKKEN LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
#define GPT4O \
    LEAD UPPER "*" LOWER "+" CONTRACTIONS "?|" LEAD UPPER "+" LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
#define SEED_CODER CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES
#define CJK_DEEPSEEK "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"
#define CJK_DEEPSEEK3 "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"
#define DEEPSEEK3 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
// Letters of cased scripts, as DeepSeek's first tokenizer lists them.
#define CASED \
    "A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF\u0370-\u0373\u0376\u0377" \
    "\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556" \
    "\u10A0-\u10C5\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A" \
    "\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4" \
    "\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC" \
    "\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F" \
    "\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B" \
    "\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A" \
    "\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-\U000104FB\U00010C80-\U00010CB2\U00010CC0-\U00010CF2" \
    "\U000118A0-\U000118DF\U0001E900-\U0001E943"
#define PUNCTUATION_DEEPSEEK "\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+"
#define SENTENCES " ?[^(\\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+"

static const convert_pretokenizer pretokenizers[] = {
    {.names = "gpt-2 gpt2 phi-2 olmo mpt jais trillion granite-docling exaone4 jina-es jina-de jina-v2-es jina-v2-de "
              "gigachat a.x-4.0 mellum modern-bert"},
    {.names = "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", .digits = true},
    {.names = "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", .splits = {LLAMA3},
     .ignore_merges = true, .add_bos = true},
    {.names = "dbrx smaug-bpe chatglm-bpe glm4", .splits = {LLAMA3}},
    {.names = "qwen2 deepseek-r1-qwen megrez", .splits = {QWEN2}, .nfc = true},
    {.names = "stablelm2 hunyuan solar-open grok-2 kormo f2llmv2", .splits = {QWEN2}},
    {.names = "qwen35", .splits = {QWEN35}, .nfc = true},
    {.names = "tekken", .splits = {TEKKEN}, .ignore_merges = true, .add_bos = true},
    {.names = "gpt-4o llama4 kanana2 minimax-m2", .splits = {GPT4O}},
    {.names = "seed-coder", .splits = {SEED_CODER}},
    {.names = "deepseek-llm", .splits = {"[\\r\\n]", "\\s?[" CASED "]+", PUNCTUATION_DEEPSEEK, "\\s+$", CJK_DEEPSEEK, "\\p{N}+"}},
    {.names = "deepseek-coder", .splits = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_DEEPSEEK, "\\p{N}"}},
    {.names = "deepseek-v3 hunyuan-dense joyai-llm", .splits = {"\\p{N}{1,3}", CJK_DEEPSEEK3, DEEPSEEK3}},
    {.names = "falcon", .splits = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {.names = "poro-chat bloom gpt3-finnish", .splits = {SENTENCES}},
    {.names = "viking", .splits = {SENTENCES, "\\p{N}"}},
    {.names = "default", .splits = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

static bool has_word(const char *words, gguf_string word)
{
    for (const char *at = words; at; at = strchr(at, ' ')) {
        if (*at == ' ') at++;
        if (strcspn(at, " ") == word.length && memcmp(at, word.text, word.length) == 0) return true;
    }
    return false;
}

const convert_pretokenizer *convert_find_pretokenizer(gguf_string name)
{
    for (size_t i = 0; i < sizeof pretokenizers / sizeof *pretokenizers; i++)
        if (has_word(pretokenizers[i].names, name)) return &pretokenizers[i];
    return NULL;
}

static void put_byte_level(buf *text, bool use_regex)
{
    buf_printf(text, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": %s}",
               use_regex ? "true" : "false");
}

void convert_put_pretokenizer(const convert_pretokenizer *pre, buf *text)
{
    size_t max_splits = sizeof pre->splits / sizeof *pre->splits;
    if (!pre->digits && !pre->splits[0]) {
        put_byte_level(text, true);
        return;
    }
    buf_append_string(text, "{\"type\": \"Sequence\", \"pretokenizers\": [");
    if (pre->digits) buf_append_string(text, "{\"type\": \"Digits\", \"individual_digits\": true}, ");
    for (size_t i = 0; i < max_splits && pre->splits[i]; i++) {
        buf_append_string(text, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        buf_append_json_string(text, pre->splits[i], strlen(pre->splits[i]));
        buf_append_string(text, "}, \"behavior\": \"Isolated\", \"invert\": false}, ");
    }
    put_byte_level(text, pre->digits);
    buf_append_string(text, "]}");
}
