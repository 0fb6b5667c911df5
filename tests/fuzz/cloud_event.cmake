fuzz_target(cloud_event SOURCE cloud_event.cc USES http record base LIBS simdjson)
