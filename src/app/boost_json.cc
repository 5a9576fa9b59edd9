// Boost.JSON as a header-only library: its definitions, once.
#include <boost/json/src.hpp>
