"""The firewall stack, in us-east-1: CloudFront uses web ACLs from that region only."""

from aws_cdk import CfnOutput, Environment, Fn, Stack
from constructs import Construct

from infra.components.firewall import Firewall
from infra.config import CLOUDFRONT_REGION, StageConfig

ACL_OUTPUT = "WebAclArn"


class FirewallStack(Stack):
    """The web ACL of the stage's distribution."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(
            scope,
            construct_id,
            termination_protection=config.protects_data,
            description="We-Upload: firewall",
            env=Environment(region=CLOUDFRONT_REGION),
        )
        CfnOutput(self, ACL_OUTPUT, value=Firewall(self, "Firewall", config=config).acl.attr_arn)

    @property
    def acl_arn(self) -> str:
        """The web ACL's ARN, for stacks of any region.

        CloudFormation reads the output itself; a cross-region reference of the CDK would add two functions.
        """
        return Fn.get_stack_output(self.stack_name, ACL_OUTPUT, CLOUDFRONT_REGION)
