#include "kafka/handlers/handlers.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

io::Task<DescribeClusterResponse> describe_cluster(Context& context,
                                                   DescribeClusterRequest request) {
  // 1 asks for brokers, 2 for controllers, which clients do not reach here.
  constexpr int8_t kBrokers = 1, kControllers = 2;
  DescribeClusterResponse response;
  if (request.endpoint_type != kBrokers) {
    response.error_code = request.endpoint_type == kControllers ? wire::kMismatchedEndpointType
                                                                : wire::kUnsupportedEndpointType;
    response.error_message = "this address is a broker's";
    co_return response;
  }
  response.cluster_id = context.services.cluster_id;
  response.controller_id = kNodeId;
  auto& node = response.brokers.emplace_back();
  node.broker_id = kNodeId;
  node.host = context.services.host;
  node.port = context.services.port;
  if (request.include_cluster_authorized_operations) {
    response.cluster_authorized_operations = kClusterOperations;
  }
  co_return response;
}

}  // namespace millrace::kafka
