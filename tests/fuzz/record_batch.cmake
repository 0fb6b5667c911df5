fuzz_target(record_batch SOURCE record_batch.cc USES record base)
