"""What each score means, in one plain sentence, and which way is better."""

MEANINGS = {
    "fid": "How far the drawn pictures' features lie from those of real pictures: lower is better, and the next line "
    "is about as low as it can get.",
    "fid_real": "Real against real: the same distance between as many training pictures and the split's own; the floor "
    "of the line above.",
    "kid": "How far the drawn pictures' features lie from those of real pictures by a kernel: lower is better, 0 where "
    "both are alike, and below 0 by chance alone; unlike the Fréchet distance it does not depend on their number.",
    "kid_real": "Real against real: the same distance between training pictures and the split's own.",
    "precision": "Share of drawn pictures that lie among the real ones: higher is better (quality).",
    "precision_real": "The same of training pictures: what the line above can hope for.",
    "recall": "Share of real pictures that lie among the drawn ones: higher is better (variety).",
    "recall_real": "The same with training pictures for the drawn ones.",
    "density": "How densely real pictures lie around the drawn ones: higher is better, about 1 where both are alike.",
    "density_real": "The same of training pictures.",
    "coverage": "Share of real pictures that have a drawn one in their neighbourhood: higher is better.",
    "coverage_real": "The same with training pictures for the drawn ones.",
    "scene_fid": "The Fréchet distance between drawn and real objects, each cut out by its box: lower is better.",
    "scene_fid_real": "Real against real: the same between objects of training pictures and of the split's own.",
    "classifier_accuracy": "Share of drawn objects that a classifier recognizes which learned from real ones and was "
    "never trained against: higher is better, up to about the next line.",
    "classifier_accuracy_real": "The same of the objects in real pictures.",
    "relation_accuracy": "Share of the scene graph's relations that hold between the boxes that pictures are laid out "
    "by: higher is better.",
    "relation_accuracy_real": "The same between the true boxes; below 1, since graphs were made with the objects' "
    "centroids and not the centres of boxes.",
    "is": "Whether each picture clearly shows something and all together show many things: higher is better.",
    "is_real": "The same of the split's real pictures: what the line above can hope for.",
    "diversity": "How much pictures of one scene differ under different seeds: higher is more varied, which is better "
    "as long as the pictures are good.",
    "box_iou": "How well predicted boxes cover the true ones, from 0 to 1: higher is better, though a graph alone "
    "leaves a layout open.",
    "box_recall@0.3": "Share of objects whose predicted box overlaps the true one by at least 0.3: higher is better.",
    "box_recall@0.5": "Share of objects whose predicted box overlaps the true one by at least 0.5: higher is better.",
    "object_accuracy": "Share of drawn objects that the object discriminator recognizes: higher is better, up to about "
    "the next line.",
    "object_accuracy_real": "The same of the objects in real pictures.",
    "ground_truth_accuracy": "How often an object's own patch is ranked first, the query being another object of its "
    "scene: higher is better, from what chance gives, below, to 1.",
    "ground_truth_mean_rank": "The place of an object's own patch among its candidates, from 1: lower is better.",
    "ground_truth_chance_accuracy": "What retrieval by chance would find first.",
    "ground_truth_chance_mean_rank": "The place that retrieval by chance would give it.",
    "cooccurrence_distance": "How far apart the retrieved patches of a scene lie for the network that knows what "
    "occurs together: lower is better.",
    "style_agreement": "Share of pairs of retrieved patches that come from scenes of one style: higher is better, and "
    "1 is perfect.",
    "agreement_hue": "How near the hues of the air are under which retrieved patches were seen, over pairs: higher is "
    "better, 1 is the same, chance gives 0.5.",
    "agreement_region": "Share of pairs of retrieved trees, houses and boats that are of one region: higher is better, "
    "and 1 is perfect.",
    "candidate_recall_stored": "Share of the truly nearest patches that the stored candidate lists hold: higher is "
    "better; below 1 the prefilter loses some.",
    "candidate_recall_scann": "The same for ScaNN in every category, also in those that are searched exhaustively.",
    "candidate_recall_faiss": "The same for FAISS in every category, also in those that are searched exhaustively.",
}
