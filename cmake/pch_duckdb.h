#pragma once
// libstdc++ 12 makes unique_ptr's members constexpr in C++23, and clang then instantiates them
// where DuckDB's headers still hold incomplete types. Without the constexpr they are instantiated
// late, as in C++20.
#include <bits/c++config.h>
#undef _GLIBCXX23_CONSTEXPR
#define _GLIBCXX23_CONSTEXPR

#include <duckdb.hpp>

#include "pch.h"
