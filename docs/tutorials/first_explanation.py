"""Explain one recording, look at it, and plot it."""

import ecgcam

explanation = ecgcam.explain("demo/af-7.dat", "atrial fibrillation")[0]
print(explanation)
print(explanation.meta["verdict"]["answer"], explanation.leads[explanation.ranking[0]])
explanation.plot().savefig("page.png")
explanation.plot_lead("V1").savefig("V1.png")
