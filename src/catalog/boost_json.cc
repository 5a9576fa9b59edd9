// The one place where Boost.JSON is compiled; elsewhere it is declarations alone.
#include <boost/json/src.hpp>
