from counterpoint.networks import tiny_vlm

tiny_vlm.world = lambda: "scenes:companions,train=64,validation=16,test=64"
