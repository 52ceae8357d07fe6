#!/usr/bin/env python3
"""A chat with a model from Python, without a binding: ctypes_chat.py [MODEL]. One line is one turn."""
import ctypes
import sys

class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("amounts", ctypes.c_uint64 * 2), ("message", ctypes.c_char * 500)]

class Chunk(ctypes.Structure):  # what a chat reads of it, and room for the rest
    _fields_ = [("kind", ctypes.c_int), ("text", ctypes.c_char_p), ("length", ctypes.c_size_t), ("rest", ctypes.c_char * 1000)]

OK, END, FOREVER, TEXT = 0, 1, -1, 0
llm = ctypes.CDLL("libllmlocal.so.0")
for function in llm.llm_mlx_backend_create, llm.llm_backend_generate:
    function.restype = ctypes.c_void_p

def check(ok):
    if not ok:
        sys.exit(err.message.decode())

err, chunk, spec = Error(), Chunk(), ctypes.create_string_buffer(1000)
name = sys.argv[1].encode() if len(sys.argv) > 1 else b"default"  # the spec borrows it
llm.llm_model_spec_init(spec, name)
backend = ctypes.c_void_p(llm.llm_mlx_backend_create(None, ctypes.byref(err)))
check(backend and llm.llm_backend_load(backend, spec, None, None, ctypes.byref(err)) == OK)
for line in iter(lambda: print("> ", end="", flush=True) or sys.stdin.readline(), ""):
    answer = ctypes.c_void_p(llm.llm_backend_generate(backend, line.encode(), None, ctypes.byref(err)))
    check(answer)
    while (status := llm.llm_stream_next(answer, FOREVER, ctypes.byref(chunk), ctypes.byref(err))) == OK:
        if chunk.kind == TEXT:
            print(chunk.text.decode(), end="", flush=True)
    check(status == END)
    llm.llm_stream_free(answer)
    print()
llm.llm_backend_free(backend)
