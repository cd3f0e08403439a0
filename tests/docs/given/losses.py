import counterpoint as cp
