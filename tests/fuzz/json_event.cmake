fuzz_target(json_event SOURCE json_event.cc USES record base LIBS simdjson)
