"""How far two raters of the same items agree, say a judge and people, or two judges.

`kappa` compares labels, `correlation` numbers. A rating of None is none: the item is left out and counted.
"""
