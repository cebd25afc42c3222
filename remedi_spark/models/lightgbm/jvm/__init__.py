"""Code that must run inside the JVM: the focal-loss objective of SynapseML's LightGBM, its source and its jar."""
