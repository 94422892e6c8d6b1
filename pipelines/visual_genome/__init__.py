"""Visual Genome, by sg2im's protocol: annotated relations between the objects of photographs."""
