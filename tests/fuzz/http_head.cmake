fuzz_target(http_head SOURCE http_head.cc USES http record base)
