fuzz_target(ws_frame SOURCE ws_frame.cc USES http record base)
