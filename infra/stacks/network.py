"""The network stack."""

from aws_cdk import Stack
from constructs import Construct

from infra.components.network import Network
from infra.config import StageConfig


class NetworkStack(Stack):
    """The VPC that the other stacks use."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id, termination_protection=config.protects_data, description="We-Upload: network")
        self.network = Network(self, "Network", config=config)
