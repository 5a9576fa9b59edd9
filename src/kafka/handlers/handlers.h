#pragma once

#include "kafka/detail/services.h"
#include "kafka/messages.h"

// One handler a request, each in the file of its name: validate, act, answer. A handler says what
// is wrong inside the response; an Error (where there can be one) closes the connection.
namespace millrace::kafka {

io::Task<ApiVersionsResponse> api_versions(Context& context, ApiVersionsRequest request);
/// The answer to a version that we do not know, in version 0: error and our range.
ApiVersionsResponse api_versions_unsupported();

io::Task<SaslHandshakeResponse> sasl_handshake(Context& context, SaslHandshakeRequest request);
io::Task<SaslAuthenticateResponse> sasl_authenticate(Context& context,
                                                     SaslAuthenticateRequest request);

io::Task<MetadataResponse> metadata(Context& context, MetadataRequest request);
io::Task<CreateTopicsResponse> create_topics(Context& context, CreateTopicsRequest request);
io::Task<CreatePartitionsResponse> create_partitions(Context& context,
                                                     CreatePartitionsRequest request);
io::Task<DeleteTopicsResponse> delete_topics(Context& context, DeleteTopicsRequest request);
io::Task<DeleteRecordsResponse> delete_records(Context& context, DeleteRecordsRequest request);
io::Task<DescribeConfigsResponse> describe_configs(Context& context,
                                                   DescribeConfigsRequest request);
io::Task<IncrementalAlterConfigsResponse> incremental_alter_configs(
    Context& context, IncrementalAlterConfigsRequest request);
io::Task<AlterConfigsResponse> alter_configs(Context& context, AlterConfigsRequest request);
io::Task<DescribeLogDirsResponse> describe_log_dirs(Context& context,
                                                    DescribeLogDirsRequest request);
io::Task<AlterReplicaLogDirsResponse> alter_replica_log_dirs(Context& context,
                                                             AlterReplicaLogDirsRequest request);
io::Task<ElectLeadersResponse> elect_leaders(Context& context, ElectLeadersRequest request);
io::Task<AlterPartitionReassignmentsResponse> alter_partition_reassignments(
    Context& context, AlterPartitionReassignmentsRequest request);
io::Task<ListPartitionReassignmentsResponse> list_partition_reassignments(
    Context& context, ListPartitionReassignmentsRequest request);
io::Task<DescribeClientQuotasResponse> describe_client_quotas(Context& context,
                                                              DescribeClientQuotasRequest request);
io::Task<AlterClientQuotasResponse> alter_client_quotas(Context& context,
                                                        AlterClientQuotasRequest request);
io::Task<DescribeQuorumResponse> describe_quorum(Context& context, DescribeQuorumRequest request);
io::Task<UpdateFeaturesResponse> update_features(Context& context, UpdateFeaturesRequest request);
io::Task<ListConfigResourcesResponse> list_config_resources(Context& context,
                                                            ListConfigResourcesRequest request);
io::Task<DescribeClusterResponse> describe_cluster(Context& context,
                                                   DescribeClusterRequest request);
io::Task<DescribeTopicPartitionsResponse> describe_topic_partitions(
    Context& context, DescribeTopicPartitionsRequest request);

/// No response for acks=0; then an error closes the connection, the one way left to tell of it.
io::Task<Result<std::optional<ProduceResponse>>> produce(Context& context, ProduceRequest request);
io::Task<FetchResponse> fetch(Context& context, FetchRequest request);
io::Task<ListOffsetsResponse> list_offsets(Context& context, ListOffsetsRequest request);
io::Task<OffsetForLeaderEpochResponse> offset_for_leader_epoch(Context& context,
                                                               OffsetForLeaderEpochRequest request);
io::Task<InitProducerIdResponse> init_producer_id(Context& context, InitProducerIdRequest request);
io::Task<AddPartitionsToTxnResponse> add_partitions_to_txn(Context& context,
                                                           AddPartitionsToTxnRequest request);
io::Task<AddOffsetsToTxnResponse> add_offsets_to_txn(Context& context,
                                                     AddOffsetsToTxnRequest request);
io::Task<EndTxnResponse> end_txn(Context& context, EndTxnRequest request);
io::Task<TxnOffsetCommitResponse> txn_offset_commit(Context& context,
                                                    TxnOffsetCommitRequest request);
io::Task<WriteTxnMarkersResponse> write_txn_markers(Context& context,
                                                    WriteTxnMarkersRequest request);
io::Task<DescribeProducersResponse> describe_producers(Context& context,
                                                       DescribeProducersRequest request);
io::Task<DescribeTransactionsResponse> describe_transactions(Context& context,
                                                             DescribeTransactionsRequest request);
io::Task<ListTransactionsResponse> list_transactions(Context& context,
                                                     ListTransactionsRequest request);

// Groups.
io::Task<FindCoordinatorResponse> find_coordinator(Context& context,
                                                   FindCoordinatorRequest request);
io::Task<OffsetCommitResponse> offset_commit(Context& context, OffsetCommitRequest request);
io::Task<OffsetFetchResponse> offset_fetch(Context& context, OffsetFetchRequest request);
io::Task<OffsetDeleteResponse> offset_delete(Context& context, OffsetDeleteRequest request);
io::Task<JoinGroupResponse> join_group(Context& context, JoinGroupRequest request);
io::Task<SyncGroupResponse> sync_group(Context& context, SyncGroupRequest request);
io::Task<HeartbeatResponse> heartbeat(Context& context, HeartbeatRequest request);
io::Task<ConsumerGroupHeartbeatResponse> consumer_group_heartbeat(
    Context& context, ConsumerGroupHeartbeatRequest request);
io::Task<ConsumerGroupDescribeResponse> consumer_group_describe(
    Context& context, ConsumerGroupDescribeRequest request);
io::Task<LeaveGroupResponse> leave_group(Context& context, LeaveGroupRequest request);
io::Task<DescribeGroupsResponse> describe_groups(Context& context, DescribeGroupsRequest request);
io::Task<ListGroupsResponse> list_groups(Context& context, ListGroupsRequest request);
io::Task<DeleteGroupsResponse> delete_groups(Context& context, DeleteGroupsRequest request);

io::Task<ShareGroupHeartbeatResponse> share_group_heartbeat(Context& context,
                                                            ShareGroupHeartbeatRequest request);
io::Task<ShareGroupDescribeResponse> share_group_describe(Context& context,
                                                          ShareGroupDescribeRequest request);
io::Task<ShareFetchResponse> share_fetch(Context& context, ShareFetchRequest request);
io::Task<ShareAcknowledgeResponse> share_acknowledge(Context& context,
                                                     ShareAcknowledgeRequest request);
io::Task<DescribeShareGroupOffsetsResponse> describe_share_group_offsets(
    Context& context, DescribeShareGroupOffsetsRequest request);
io::Task<AlterShareGroupOffsetsResponse> alter_share_group_offsets(
    Context& context, AlterShareGroupOffsetsRequest request);
io::Task<DeleteShareGroupOffsetsResponse> delete_share_group_offsets(
    Context& context, DeleteShareGroupOffsetsRequest request);

}  // namespace millrace::kafka
