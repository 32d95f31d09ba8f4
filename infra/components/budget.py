"""A monthly budget, with mail when it is nearly spent or will be exceeded."""

from aws_cdk import aws_budgets as budgets
from constructs import Construct

from infra.config import StageConfig

SPENT_PERCENT = 80
FORECAST_PERCENT = 100


class Budget(Construct):
    """The budget of the resources with the tag `stage`. The tag must be active as a cost allocation tag (docs/deploy.md)."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, email: str) -> None:
        super().__init__(scope, construct_id)
        subscriber = budgets.CfnBudget.SubscriberProperty(address=email, subscription_type="EMAIL")
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=f"we-upload-{config.name}",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=config.monthly_budget, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:stage${config.name}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN", notification_type=kind, threshold=percent, threshold_type="PERCENTAGE"
                    ),
                    subscribers=[subscriber],
                )
                for kind, percent in (("ACTUAL", SPENT_PERCENT), ("FORECASTED", FORECAST_PERCENT))
            ],
        )
