// llm_convert: the public face of the converter.
#include "base/log.h"
#include "models/convert.h"

void llm_convert_options_init(llm_convert_options *options)
{
    *options = (llm_convert_options){.size = sizeof *options, .group_size = 64};
}

static bool pass_progress(void *user, double done)
{
    const llm_convert_options *options = user;
    return !options->progress || options->progress(options->user, "converting", done) == 0;
}

llm_status llm_convert(const char *source, const char *destination, const llm_convert_options *options, llm_error *err)
{
    llm_convert_options defaults;
    llm_convert_options_init(&defaults);
    if (!options) options = &defaults;
    if (!source || !destination) return error_set(err, LLM_INVALID_ARGUMENT, "a conversion needs a source and a destination");
    convert_options inner = {.bits = options->bits, .group_size = options->group_size, .progress = pass_progress,
                             .user = (void *)(uintptr_t)options};
    convert_report report = {0};
    llm_status status = convert_model(source, destination, &inner, &report, err);
    for (size_t i = 0; status == LLM_OK && options->report && i < report.num_lines; i++) options->report(options->user, 1, report.lines[i]);
    convert_report_free(&report);
    return status;
}
