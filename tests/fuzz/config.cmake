fuzz_target(config SOURCE config.cc USES node http os base)
