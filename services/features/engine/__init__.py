"""Training sets on Spark, for what one machine cannot hold."""
