fuzz_target(sql SOURCE sql.cc USES sql record base)
