fuzz_target(inflate SOURCE inflate.cc USES record base)
