// c++ -std=c++20 -Isdk test.cc -o test && ./test
#include "module.cc"

#include <millrace/testing.h>

int main() { return millrace::testing::check_file("cases.jsonl"); }
