"""Plan (a): one program holds a loop's weights in registers for all steps."""
