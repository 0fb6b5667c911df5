if(TARGET weir_http)
  fuzz_target(http_head SOURCE http_head.cc USES http record base)
endif()
