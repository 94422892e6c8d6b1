"""What each score means, in one plain sentence, and which way is better."""

MEANINGS = {
    "fid": "How far the drawn pictures' features lie from those of real pictures: lower is better, and the next line "
    "is about as low as it can get.",
    "fid_real": "Real against real: the same distance between as many training pictures and the split's own; the floor "
    "of the line above.",
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
    "candidate_recall_stored": "Share of the truly nearest patches that the stored candidate lists hold: higher is "
    "better; below 1 the prefilter loses some.",
    "candidate_recall_scann": "The same for ScaNN in every category, also in those that are searched exhaustively.",
    "candidate_recall_faiss": "The same for FAISS in every category, also in those that are searched exhaustively.",
}
