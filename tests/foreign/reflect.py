"""A foreign gRPC client: knows nothing of us but what reflection tells it.

Usage: reflect.py HOST:PORT            lists every service and method
       reflect.py HOST:PORT METHOD [JSON]  calls one and prints the answer as JSON; what is refused is told on standard
                                           error, as JSON too, and ends with 1
"""

import json
import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

TIMEOUT = 10


def main(address, method=None, request="{}"):
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        if method is None:
            for service in sorted(database.get_services()):
                for descriptor in pool.FindServiceByName(service).methods:
                    print(f"{service}/{descriptor.name}")
            return
        descriptor = pool.FindMethodByName(method.replace("/", "."))
        call = channel.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        message = json_format.Parse(request, GetMessageClass(descriptor.input_type)(), descriptor_pool=pool)
        try:
            print(json_format.MessageToJson(call(message, timeout=TIMEOUT), descriptor_pool=pool))
        except grpc.RpcError as error:
            status = rpc_status.from_call(error)
            details = [json_format.MessageToDict(d, descriptor_pool=pool) for d in status.details] if status else []
            told = {"code": error.code().name, "message": error.details(), "details": details}
            sys.exit(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
