"""Week 9's pipeline on Google Cloud, made and removed: what scripts/deploy_dataproc is made of.

:mod:`plan` says what there is to be, one module per service makes and removes its part, and
:mod:`deploy` takes them in order. What exists is asked of the services, never remembered here.
"""
