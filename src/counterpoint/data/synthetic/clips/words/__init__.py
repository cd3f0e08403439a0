"""Words about clips: captions, contrasts, hallucinations, narrations."""
