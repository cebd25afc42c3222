package remedi.spark;

import com.microsoft.azure.synapse.ml.lightgbm.dataset.LightGBMDataset;
import com.microsoft.azure.synapse.ml.lightgbm.params.FObjTrait;
import scala.Tuple2;
import scala.reflect.ClassTag$;

/**
 * The focal loss (Lin et al. 2017, arXiv 1708.02002, eq. 5) as an objective of SynapseML's LightGBM.
 *
 * <p>With s = 2y - 1, q = sigmoid(s z), a = alpha for a positive and 1 - alpha for a negative, r = 1 - q:
 * <pre>
 *   loss     = -a r^gamma ln q
 *   gradient = s a r^gamma (gamma q ln q - r)
 *   hessian  = a q r^gamma ((1 + 2 gamma) r + gamma ln q (r - gamma q))
 * </pre>
 * gamma = 0, alpha = 1/2 is half the log-loss. The loss is not convex in z: for gamma = 2 the hessian is negative where
 * q &lt; 0.0578, on the hardest positives, so it is floored. A custom objective has no boost_from_average: the margin
 * is z = baseScore + sum of trees, and whoever scores adds baseScore again.
 */
public final class FocalLoss implements FObjTrait {
  private static final long serialVersionUID = 1L;

  private final double alpha;
  private final double gamma;
  private final double hessianFloor;
  private final double baseScore;

  public FocalLoss(double alpha, double gamma, double hessianFloor, double baseScore) {
    this.alpha = alpha;
    this.gamma = gamma;
    this.hessianFloor = hessianFloor;
    this.baseScore = baseScore;
  }

  /** Gradient and hessian of every row at {@code predictions[row][0]}, times the row's weight where there is one. */
  @Override
  public Tuple2<float[], float[]> getGradient(double[][] predictions, LightGBMDataset data) {
    float[] labels = data.getLabel();
    // LightGBM does not weight a custom objective's gradients. Without a weight column the field is empty.
    float[] weights = (float[]) data.getField("weight", ClassTag$.MODULE$.Float());
    float[] gradients = new float[labels.length];
    float[] hessians = new float[labels.length];
    for (int row = 0; row < labels.length; row++) {
      double z = baseScore + predictions[row][0];
      boolean positive = labels[row] > 0.5f;
      double weight = weights.length == 0 ? 1.0 : weights[row];
      gradients[row] = (float) (weight * gradient(z, positive, alpha, gamma));
      hessians[row] = (float) (weight * Math.max(hessian(z, positive, alpha, gamma), hessianFloor));
    }
    return new Tuple2<>(gradients, hessians);
  }

  /** First derivative of the loss of one row by its margin z. */
  public static double gradient(double z, boolean positive, double alpha, double gamma) {
    double x = positive ? z : -z;
    double q = sigmoid(x);
    double r = sigmoid(-x);
    double slope = classWeight(positive, alpha) * Math.pow(r, gamma) * (gamma * q * logSigmoid(x) - r);
    return positive ? slope : -slope;
  }

  /** Second derivative of the loss of one row by its margin z, not floored. */
  public static double hessian(double z, boolean positive, double alpha, double gamma) {
    double x = positive ? z : -z;
    double q = sigmoid(x);
    double r = sigmoid(-x);
    double curvature = (1 + 2 * gamma) * r + gamma * logSigmoid(x) * (r - gamma * q);
    return classWeight(positive, alpha) * q * Math.pow(r, gamma) * curvature;
  }

  private static double classWeight(boolean positive, double alpha) {
    return positive ? alpha : 1 - alpha;
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x)); // exp(-x) may overflow to infinity, and 1 / infinity is the right 0
  }

  private static double logSigmoid(double x) {
    return Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x))); // never log(0)
  }
}
