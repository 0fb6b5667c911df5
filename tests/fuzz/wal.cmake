fuzz_target(wal SOURCE wal.cc USES log os record base)
